"""Lines beside other programs of a plant: what they cost one another, how the pages look; each file is a program."""
