"""What was kept and what it cost: the numbers, and how they are shown."""
