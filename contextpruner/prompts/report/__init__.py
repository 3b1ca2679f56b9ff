"""What a tuning came to: numbers, and the page that shows them."""
