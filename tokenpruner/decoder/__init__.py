"""What both engines of the decoder need once its sequence is shorter."""
