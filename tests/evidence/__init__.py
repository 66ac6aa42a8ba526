"""What the tests know independently of the package, and how they compare it: see tests/README.md."""
