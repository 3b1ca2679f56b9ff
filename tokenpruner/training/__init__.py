"""Training of methods that learn: soft masks in place of dropped tokens, and the losses that go with them."""
