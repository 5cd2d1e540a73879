"""What the leader's counters must say of a loss."""


def heads_by_worker(status):
    return {w["name"]: w["heads"] for w in status["workers"]}


def counters(status):
    """(worker, layer, head) -> its counters."""
    out = {}
    for w in status["workers"]:
        for i, layer in enumerate(w.get("cache", {}).get("layers", ())):
            for entry in layer:
                out[w["name"], i, entry["head"]] = entry
    return out


def check_reuse(before, after, victim, positions):
    """Survivors' own heads were computed once for each position; lost ones were rebuilt."""
    owned, was, now = heads_by_worker(before), counters(before), counters(after)
    for (name, layer, head), c in now.items():
        if name == victim:
            continue
        old = was.get((name, layer, head), {"misses": 0, "rebuilt": 0})
        computed, rebuilt = c["misses"] - old["misses"], c["rebuilt"] - old["rebuilt"]
        if head in owned[name]:
            assert (computed, rebuilt) == (positions, 0), (name, layer, head)
        else:
            assert computed + rebuilt == positions, (name, layer, head)


def check_failover(failover, victim, cause, heads):
    assert failover["worker"] == victim
    assert failover["cause"] == cause
    assert failover["rows_replayed"] == 0
    assert failover["heads_lost"] == len(heads[victim]) > 0
    assert failover["heads_rebuilt"] == failover["heads_lost"]
    kept = sum(len(h) for name, h in heads.items() if name != victim)
    assert failover["heads_reused"] == kept
    for key in ("detect_ms", "plan_ms", "weights_ms", "rebuild_ms", "retry_ms", "stall_ms"):
        assert failover[key] >= 0, key
