"""What is kept or dropped as a whole: a text becomes units that partition it, and kept units a text again."""
