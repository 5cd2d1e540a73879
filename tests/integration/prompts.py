"""Prompts of token ids: fixed sequences that look random."""


def prompt(n, seed=1, vocab=256):
    state, ids = seed, []
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        ids.append((state >> 33) % vocab)
    return ids
