"""How the built-in models were made. Needs the extra `[train]`; `app` never imports anything from here."""
