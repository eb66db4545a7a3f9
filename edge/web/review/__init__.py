"""What people say of parts: one part after the other, and what that tells of the line."""
