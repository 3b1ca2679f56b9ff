"""Questions with gold, from the sets of others, as lines of JSON that training, calibration and evaluation read."""
