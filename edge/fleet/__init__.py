"""Many boxes: bundles reach them through a channel, their records leave as tables, archives are judged again."""
