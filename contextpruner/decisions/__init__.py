"""From probabilities to kept units: a rule, what is kept with them, a budget in tokens, a target recall."""
