"""What every other room stands on: configuration, run folders, events. Standard library only."""
