/** When to try again. */
/**
 * The time to wait before attempt number `attempt` (from 0), with full jitter: anything between
 * nothing and the bound, so that clients which lost their server together do not come back together.
 * `random` is in [0, 1).
 */
export function backoffMs(attempt, { baseMs, capMs }, random) {
    return Math.floor(random * Math.min(capMs, baseMs * 2 ** attempt));
}
