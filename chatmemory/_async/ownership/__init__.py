"""What belongs to a session, a user or a tenant: erased, or exported, as a whole."""
