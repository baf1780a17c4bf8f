import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IncidentContext, incidentFromReport } from '../../src/assemble/incident-from-report.ts';
import type { KillReport } from '../../src/assemble/kill-report.ts';
import type { CapturedProcess } from '../../src/processes/captured-process.ts';
import { assertValidIncident } from '../validate-incident.ts';

const ID = '4bf1c3d5e7a9b0c2d4f6a8b0c2d4e6f8a0b2c4d6e8f0a2b4c6d8e0f2a4b6c8d0';

const REPORT: KillReport = {
  firstSequence: 7,
  lastSequence: 9,
  oom: { scope: 'cgroup', group_kill: false, header_seen: true },
  victims: [
    {
      pid: 12,
      name: 'java',
      userId: 1000,
      cgroup: `/docker/${ID}`,
      oomScoreAdj: 5,
      sequence: 9,
      memory: { anon_rss: 4096 },
    },
  ],
  unknown: {},
  raw: ['a line'],
};

const CAPTURED: CapturedProcess = {
  pid: 12,
  parentPid: 3,
  args: ['java', '-jar', 'a b.jar', ''],
  executable: '/usr/bin/java',
  cgroup: `/docker/${ID}`,
  userId: 0,
  startedAt: Date.parse('2026-11-21T03:00:00.000Z'),
  source: 'exec',
  capturedAt: Date.parse('2026-11-21T03:14:14.000Z'),
  truncated: true,
  redacted: 2,
};

function join(
  report: Partial<KillReport>,
  captured: IncidentContext['captured'],
  time = '2026-11-21T03:14:15.926Z',
) {
  const incident = incidentFromReport(
    { ...REPORT, ...report },
    { id: 'boot:7', time, host: { name: 'node-7' }, witness: 'kmsg', captured },
  );
  assertValidIncident(incident);
  return incident;
}

test('what the kernel said and what the table knew, in one', () => {
  const incident = join({}, [CAPTURED]);
  assert.deepEqual(incident.process, {
    pid: 12,
    parent_pid: 3,
    name: 'java',
    executable: { path: '/usr/bin/java' },
    command_line: 'java -jar a b.jar ',
    command_args: ['java', '-jar', 'a b.jar', ''],
    user: { id: 1000 },
    creation_time: '2026-11-21T03:00:00.000Z',
    cgroup: `/docker/${ID}`,
  });
  assert.deepEqual(incident.victims[0]?.capture, {
    source: 'exec',
    age_ms: 1926,
    truncated: true,
    redacted: 2,
  });
  assert.deepEqual(incident.container, { id: ID, runtime: 'docker' });
  assert.equal(incident.unknown, undefined);
});

test('nobody saw it: the name is all there is, and why', () => {
  const incident = join({}, [undefined]);
  assert.deepEqual(incident.victims[0]?.capture, { source: 'kernel-comm', truncated: false, redacted: 0 });
  assert.equal(incident.unknown?.['process.command_line'], 'nobody read it before the process died');
  const { args: _, ...unread } = CAPTURED;
  assert.equal(
    join({}, [{ ...unread, source: 'kernel-comm', missing: 'a kernel thread' }]).unknown?.[
      'process.command_line'
    ],
    'a kernel thread',
  );
});

test("of two cgroups the kernel's is the right one, but the table may know it more exactly", () => {
  const kernel = (cgroup: string | undefined, table: string) => {
    const { cgroup: _, ...victim } = REPORT.victims[0] as KillReport['victims'][number];
    return join({ victims: [{ ...victim, ...(cgroup !== undefined && { cgroup }) }] }, [
      { ...CAPTURED, cgroup: table },
    ]);
  };
  assert.equal(kernel('/a', '/b').process.cgroup, '/a');
  assert.equal(kernel('/a', '/a/b').process.cgroup, '/a/b');
  assert.equal(kernel(undefined, '/system.slice/x.service').process.cgroup, '/system.slice/x.service');
  assert.deepEqual(kernel(undefined, '/system.slice/x.service').systemd, {
    unit: 'x.service',
    slice: 'system.slice',
  });
});

test('a cgroup that nobody knows is said to be unknown', () => {
  const { cgroup: _, ...victim } = REPORT.victims[0] as KillReport['victims'][number];
  assert.equal(join({ victims: [victim] }, []).unknown?.['process.cgroup'], 'the kernel did not print it');
});

test('who is killed for the limit of a cgroup is not in the root, whatever the table has read; for the node it can be', () => {
  const { cgroup: _, ...victim } = REPORT.victims[0] as KillReport['victims'][number];
  const moved = { ...CAPTURED, cgroup: '/' };
  const incident = join({ victims: [victim] }, [moved]);
  assert.equal(incident.process.cgroup, undefined);
  assert.equal(incident.unknown?.['process.cgroup'], 'the kernel did not print it');
  const node = join({ victims: [victim], oom: { ...REPORT.oom, scope: 'node' } }, [moved]);
  assert.equal(node.process.cgroup, '/');
});

test('a clock that was set back makes no negative age', () => {
  assert.equal(join({}, [CAPTURED], '2026-11-21T03:14:13.000Z').victims[0]?.capture.age_ms, 0);
});
