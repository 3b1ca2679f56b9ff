"""Small models that are trained to judge a selection by: the folder is the registry."""
