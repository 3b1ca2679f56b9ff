"""The engine of methods that choose among the tokens before they enter the decoder."""
