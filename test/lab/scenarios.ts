/**
 * What happens in the guest, by name; run there. Each scenario has a machine of its own, freshly booted: the kernel's rate
 * limit is unused, and nobody has ever subscribed to process events.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExpectedVictim } from './evidence.ts';
import type { Guest } from './guest.ts';

type Scenario = (guest: Guest) => Promise<void>;

const LIMIT = 16 << 20;
/** An old generation that fills once more; what leaks with each of some thousand reports is more. */
const FLAT_KIB = 12 << 10;
const VICTIM = '/lab/victim';
const POD =
  '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f4c8a52_7d1e_4b9c_9f30_6a51d2c7e8b4.slice';
const CONTAINER = `${POD}/cri-containerd-${'c0ffee'.repeat(10)}beef.scope`;
const NEIGHBOUR = `${POD}/cri-containerd-${'decade'.repeat(10)}feed.scope`;
const LONG_LIFE_MS = '600000';

/** Arguments that something on the way may damage. */
const HARD_ARGUMENTS = ['two words', '', 'ü€\n', '%s\t"\\', 'x'.repeat(5_000)];

const HOSTILE_NAMES = [
  ') Killed (x',
  'x,pid=1,uid=0',
  'a\\x0aOut of memor',
  '\\x1b[2J\\x07\\xff\\xfe',
  '(((((((((((((((',
  ' , total-vm:1kB',
  '',
  '\\xc3\\xbc\\xe2\\x82\\xac',
];

async function lone(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  for (let i = 0; i < 10; i++) {
    const cgroup = guest.cgroup(`/lone-${i}`, { limit: LIMIT });
    const spawned = guest.spawn([VICTIM, 'hog', '50', `--index=${i}`, ...HARD_ARGUMENTS], { cgroup });
    const victim = await guest.victim(spawned, cgroup);
    guest.expect([victim], cgroup);
    await guest.told(agent, [victim]);
  }
}

async function storm(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup('/storm', { limit: LIMIT });
  const victims = await guest.launch(cgroup, { count: 100, parallel: 4, liveMs: 20 });
  guest.expectEach(victims, cgroup);
  await guest.told(agent, victims);
}

/** One cgroup all of whose processes are killed: the hog, and those who did nothing. */
function groupOf(idleCount: number, limit: number, hogWaitsMs: number): Scenario {
  return async (guest) => {
    const agent = await guest.startAgent();
    const cgroup = guest.cgroup(CONTAINER, { limit, groupKill: true });
    const idle = Array.from({ length: idleCount }, (_, i) =>
      guest.spawn([VICTIM, 'hog', LONG_LIFE_MS, `--idle=${i}`], { cgroup }),
    );
    const hog = guest.spawn([VICTIM, 'hog', String(hogWaitsMs), '--hog'], { cgroup });
    const victims = await Promise.all([hog, ...idle].map((each) => guest.victim(each, cgroup)));
    guest.expect(victims, cgroup, { groupKill: true });
    await guest.told(agent, victims);
  };
}

/** Two groups one right after the other are two incidents. */
async function groups(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const all = ['/group-a', '/group-b'].map(async (path) => {
    const cgroup = guest.cgroup(path, { limit: LIMIT, groupKill: true });
    const idle = guest.spawn([VICTIM, 'hog', LONG_LIFE_MS, `--idle=${path}`], { cgroup });
    const hog = guest.spawn([VICTIM, 'hog', '500', `--hog=${path}`], { cgroup });
    const victims = await Promise.all([hog, idle].map((each) => guest.victim(each, cgroup)));
    guest.expect(victims, cgroup, { groupKill: true });
    await guest.told(agent, victims);
  });
  await Promise.all(all);
}

async function podLimit(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const pod = guest.cgroup(POD, { limit: LIMIT });
  const cgroup = guest.cgroup(CONTAINER);
  const neighbour = guest.spawn([VICTIM, 'hog', LONG_LIFE_MS], { cgroup: guest.cgroup(NEIGHBOUR) });
  const victim = await guest.victim(guest.spawn([VICTIM, 'hog', '50', '--greedy'], { cgroup }), cgroup);
  guest.expect([victim], pod);
  await guest.told(agent, [victim]);
  neighbour.kill();
}

/** Workers of a server that forks them and never calls exec. */
async function prefork(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  const victims = await guest.launch(cgroup, { count: 5, mode: 'fork', liveMs: 50 });
  guest.expectEach(victims, cgroup);
  await guest.told(agent, victims);
}

async function leader(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  for (let i = 0; i < 3; i++) {
    const spawned = guest.spawn([VICTIM, 'leader', '300', `--index=${i}`], { cgroup });
    const victim = await guest.victim(spawned, cgroup);
    guest.expect([victim], cgroup);
    await guest.told(agent, [victim]);
  }
}

async function names(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup('/names', { limit: LIMIT });
  for (const name of HOSTILE_NAMES) {
    const spawned = guest.spawn(['/lab/named', name, '50', 'text'], { cgroup });
    const victim = await guest.victim(spawned, cgroup, name);
    guest.expect([victim], cgroup);
    await guest.told(agent, [victim]);
  }
}

async function node(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER);
  const victim = await guest.victim(guest.spawn([VICTIM, 'hog', '50', '--all'], { cgroup }), cgroup);
  guest.expect([victim], undefined);
  await guest.told(agent, [victim]);
}

/** Whoever asks for memory dies, and that can be the agent itself: the next one tells both kills. */
async function allocatingTask(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  writeFileSync('/proc/sys/vm/oom_kill_allocating_task', '1');
  const cgroup = guest.cgroup(CONTAINER);
  const victim = await guest.victim(guest.spawn([VICTIM, 'hog', '50', '--asks'], { cgroup }), cgroup);
  guest.expect([victim], undefined);
  await agent.until(() => agent.toldPids.has(victim.pid) || agent.ended !== undefined, 'telling 1 or dead');
  if (agent.ended === undefined) return;
  const itself = { pid: agent.pid, args: agent.args, cgroup: '/', signal: 9 };
  guest.expect([itself], undefined);
  await guest.told(await guest.startAgent(), [victim, itself]);
}

async function sysrq(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER);
  const spawned = guest.spawn([VICTIM, 'hog', LONG_LIFE_MS, '--idle'], { cgroup });
  await sleep(500);
  writeFileSync('/proc/sysrq-trigger', 'f');
  const victim = await guest.victim(spawned, cgroup);
  guest.expect([victim], undefined, { scope: 'sysrq' });
  await guest.told(agent, [victim]);
}

/** Everybody in the cgroup is protected: the kernel dumps its report again and again and kills nobody. */
async function unkillable(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  const memory = [agent.measure('before')];
  const protectedHogs = [1, 2].map((i) => guest.spawn([VICTIM, 'protected', '50', `--${i}`], { cgroup }));
  for (let seconds = 5; seconds <= 20; seconds += 5) {
    await sleep(5_000);
    memory.push(agent.measure(`after ${seconds} s`));
  }
  const [, warm, , , last] = memory as [number, number, number, number, number];
  guest.check(last - warm < FLAT_KIB, `memory grows: ${memory.join(', ')} KiB`);
  const reports = agent.run.err.filter(({ text }) => text.includes('found nobody to kill')).length;
  guest.check(reports >= 1 && reports <= 3, `no victim is reported ${reports} times in 20 s`);
  for (const each of protectedHogs) each.kill();
  await Promise.all(protectedHogs.map(({ ended }) => ended));
  const other = guest.cgroup('/afterwards', { limit: LIMIT });
  const victim = await guest.victim(
    guest.spawn([VICTIM, 'hog', '50', '--afterwards'], { cgroup: other }),
    other,
  );
  guest.expect([victim], other);
  await guest.told(agent, [victim]);
  agent.measure('at the end');
}

/** Kills among reports that come without end. */
async function flood(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const noisy = guest.cgroup(NEIGHBOUR, { limit: LIMIT });
  const protectedHog = guest.spawn([VICTIM, 'protected', '50'], { cgroup: noisy });
  await sleep(1_000);
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  const victims = await guest.launch(cgroup, { count: 30, parallel: 2, liveMs: 20 });
  protectedHog.kill();
  guest.expectEach(victims, cgroup);
  await guest.told(agent, victims);
}

/** The agent stands still until the ring has been overwritten: it tells what is left there, and that there was more. */
async function overrun(guest: Guest): Promise<void> {
  const agent = await guest.startAgent();
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  const launching = guest.launch(cgroup, { count: 3, parallel: 3, liveMs: 10_000 });
  await sleep(1_500);
  agent.pause();
  await guest.launch(guest.cgroup(NEIGHBOUR, { limit: LIMIT }), { count: 2, liveMs: 20 });
  guest.overwriteKernelLog();
  const victims = await launching;
  guest.expectEach(victims, cgroup);
  await sleep(20_000);
  agent.resume();
  await guest.told(agent, victims);
  const loss = agent.run.err.filter(({ text }) => text.includes('records were overwritten'));
  guest.check(loss.length === 1, `the loss is told ${loss.length} times`);
}

async function restart(guest: Guest): Promise<void> {
  const cgroup = guest.cgroup('/restart', { limit: LIMIT });
  const first = await guest.startAgent();
  const before = await guest.launch(cgroup, { count: 1, liveMs: 50 });
  guest.expectEach(before, cgroup);
  await guest.told(first, before);

  const launching = guest.launch(cgroup, { count: 3, parallel: 3, liveMs: 3_000, text: ['--seen=%d'] });
  await sleep(1_500);
  await first.kill9();
  const missed = await launching;
  guest.expectEach(missed, cgroup);
  const unseen = await guest.launch(cgroup, { count: 1, liveMs: 10, text: ['--unseen'] });
  guest.expectEach(unseen, cgroup, { commandLine: 'unknowable' });

  const second = await guest.startAgent();
  await guest.told(second, [...missed, ...unseen]);
  await second.terminate();

  const third = await guest.startAgent();
  const fresh = await guest.launch(cgroup, { count: 1, liveMs: 50, text: ['--fresh'] });
  guest.expectEach(fresh, cgroup);
  await guest.told(third, fresh);
}

async function networkNamespace(guest: Guest): Promise<void> {
  const agent = await guest.startAgent('/tmp/state', ['unshare', '-n']);
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  const victims = await guest.launch(cgroup, { count: 5, liveMs: 20 });
  guest.expectEach(victims, cgroup);
  await guest.told(agent, victims);
}

/**
 * The kernel's numbers of processes mean others there. A process which has, in the agent's pid namespace, the number that
 * the victim has in the kernel's log, must not be taken for it.
 */
async function pidNamespace(guest: Guest): Promise<void> {
  guest.blind = true;
  const next = 5_000;
  const setNext = `echo ${next} >/proc/sys/kernel/ns_last_pid`;
  const script = `"$0" "$@" & agent=$!; sleep 3; ${setNext}; ${VICTIM} hog ${LONG_LIFE_MS} --decoy & wait $agent`;
  const agent = await guest.startAgent('/tmp/state', ['unshare', '-pf', '--mount-proc', 'sh', '-c', script]);
  guest.decoys.push([VICTIM, 'hog', LONG_LIFE_MS, '--decoy']);
  await sleep(4_000);
  const cgroup = guest.cgroup(CONTAINER, { limit: LIMIT });
  writeFileSync('/proc/sys/kernel/ns_last_pid', String(next));
  const victims: ExpectedVictim[] = [];
  for (let i = 0; i < 3; i++) {
    const spawned = guest.spawn([VICTIM, 'hog', '50', `--index=${i}`], { cgroup });
    victims.push(await guest.victim(spawned, cgroup));
  }
  guest.expectEach(victims, cgroup, { commandLine: 'unknowable' });
  await guest.told(agent, victims);
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  lone,
  storm,
  group: groupOf(2, LIMIT, 500),
  crowd: groupOf(100, 4 * LIMIT, 10_000),
  groups,
  'pod-limit': podLimit,
  prefork,
  leader,
  names,
  node,
  'allocating-task': allocatingTask,
  sysrq,
  unkillable,
  flood,
  overrun,
  restart,
  'network-namespace': networkNamespace,
  'pid-namespace': pidNamespace,
};
