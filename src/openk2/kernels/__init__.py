"""Hand-written device code, each piece beside the torch expression that it equals."""
