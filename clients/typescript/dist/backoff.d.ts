/** When to try again. */
/** Bounds of the time between two attempts to connect, in milliseconds. */
export interface Backoff {
    /** Before the second attempt it is at most this; the bound doubles with each. */
    readonly baseMs: number;
    /** It is never more than this. */
    readonly capMs: number;
}
/**
 * The time to wait before attempt number `attempt` (from 0), with full jitter: anything between
 * nothing and the bound, so that clients which lost their server together do not come back together.
 * `random` is in [0, 1).
 */
export declare function backoffMs(attempt: number, { baseMs, capMs }: Backoff, random: number): number;
