"""Facts that the tests know independently of the package, and how it is compared: see tests/README.md."""
