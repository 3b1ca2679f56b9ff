"""The parts that pick tokens by scores or features: one file each."""
