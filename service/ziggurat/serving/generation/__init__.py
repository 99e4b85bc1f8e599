"""Language models behind the event loop: one thread a model runs steps, streams carry what they give."""
