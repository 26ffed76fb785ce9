"""Any optax transformation as the update rule: here AdaBelief with clipped gradients and a warm-up."""

import optax

import epochal

data = epochal.load("digits")
epochs, batch_size = 10, 20
steps = epochs * -(-len(data.train) // batch_size)
rate = optax.warmup_cosine_decay_schedule(0.0, 0.003, warmup_steps=steps // 10, decay_steps=steps)
rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adabelief(rate))

recipe = epochal.Recipe(optimizer=rule, epochs=epochs, batch_size=batch_size)
for epoch in epochal.train(epochal.mlp(hidden=100), data, recipe):
    print(epoch)
