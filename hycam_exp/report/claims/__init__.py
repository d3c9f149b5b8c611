"""The paper's claims, recomputed from its tables and from our records."""
