/**
 * Distributed locks from a lockside sidecar: held as long as a connection, with fencing tokens and a signal of loss.
 *
 * <p>Begin with {@link lockside.Lockside}. {@link lockside.LockTemplate} runs work under locks, {@link lockside.FakeLockside} is for
 * the tests of an application.
 */
package lockside;
