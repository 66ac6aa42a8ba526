"""Pages in a real browser, and their arithmetic in node."""
