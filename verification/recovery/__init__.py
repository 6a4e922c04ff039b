"""What a drill's times say of a recovery: what bounds it, how long it would take elsewhere, whether it gets slower."""
