"""Where sessions come from: one file per format. Every reader yields mappings that `learn_many` takes."""
