"""What a run is: its source, scorers, steps and output, in Python, as YAML, and before it is run."""
