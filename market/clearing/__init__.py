"""How a book becomes trades: orders, matching, pricing, fees, one book (`single`) or many (`batch`)."""
