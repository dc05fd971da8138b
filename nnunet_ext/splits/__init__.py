"""Which cases train and which validate: by subject, balanced, and audited."""
