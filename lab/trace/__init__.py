"""Any program under the tap: how it gets the tap, and its process tree, followed to its end."""
