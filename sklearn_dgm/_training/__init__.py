"""How networks are fitted: the only room that knows skorch."""
