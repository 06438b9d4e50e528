"""The link to the PHP server: one exchange, its two generations, and the loops that use them."""
