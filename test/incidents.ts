import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { Incident, IncidentHost, Process, Victim } from '../src/incident.ts';
import type { Delivery, Recurrence } from '../src/sink.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

export const HOST: IncidentHost = {
  name: 'node-7',
  boot_id: '6b0c7e8a-0d8f-4c1e-9d6b-2f1a54c0a7de',
  kernel: '6.12.9',
  arch: 'amd64',
};
export const KERNEL_VERSION_LINE = 'Linux version 6.12.9 (build@host) (gcc 13) #1 SMP PREEMPT_DYNAMIC';
export const FIRST: Recurrence = { nth: 1 };
/** The third kill in 2 h 10 min, as in the documentation's example. */
export const THIRD: Recurrence = {
  nth: 3,
  firstTime: '2026-11-21T01:04:10.000Z',
  lastTime: '2026-11-21T02:58:30.000Z',
};

const POD_CGROUP =
  '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f6c1f0e_7d3c_4d7a_9b1e_3a5f7c9d1e2b.slice';
const CONTAINER_ID = '4bf1c3d5e7a9b0c2d4f6a8b0c2d4e6f8a0b2c4d6e8f0a2b4c6d8e0f2a4b6c8d0';
const CONTAINER_CGROUP = `${POD_CGROUP}/cri-containerd-${CONTAINER_ID}.scope`;

const validate = incidentValidator();

function incidentValidator(): ValidateFunction {
  const ajv = new Ajv2020({ allErrors: true });
  addFormats.default(ajv);
  return ajv.compile(JSON.parse(readFileSync(new URL('../schema/incident-1.json', import.meta.url), 'utf8')));
}

/** Fails unless it is an incident by the published schema; returns what it was given. */
export function valid<T>(incident: T): T {
  assert.ok(validate(incident), `not an incident: ${JSON.stringify(validate.errors?.slice(0, 3))}`);
  return incident;
}

/** The incident with another sequence number, so with an id of its own. */
export function numbered(incident: Incident, sequence: number): Incident {
  return valid({ ...incident, id: `${HOST.boot_id}:${sequence}` });
}

export function delivery(incident: Incident, recurrence: Recurrence = FIRST): Delivery {
  return { incident, recurrence };
}

/** `count` container kills with ids of their own, in order, 0.3 s apart. */
export function storm(count: number, firstSequence = 50_000): Delivery[] {
  return Array.from({ length: count }, (_, index) =>
    delivery({
      ...numbered(containerKill(), firstSequence + index),
      time: new Date(Date.parse('2026-11-21T03:14:15.926Z') + index * 300).toISOString(),
    }),
  );
}

const JAVA_ARGS = [
  'java',
  '-Xmx2g',
  '-XX:+UseG1GC',
  '-Dshop.database.pool.size=64',
  '-Dshop.cache.directory=/var/cache/shop',
  '-jar',
  '/app/shop.jar',
  '--spring.profiles.active=prod',
];

function javaVictim(): Victim {
  return {
    process: {
      pid: 4243,
      parent_pid: 4100,
      name: 'java',
      executable: { path: '/usr/bin/java' },
      command_line: JAVA_ARGS.join(' '),
      command_args: JAVA_ARGS,
      user: { id: 1000 },
      creation_time: '2026-11-21T02:58:40.112Z',
      cgroup: CONTAINER_CGROUP,
    },
    capture: { source: 'exec', age_ms: 91_234, truncated: false, redacted: 0 },
    memory: {
      total_vm: 5 * GiB,
      anon_rss: 2_104_533_975,
      file_rss: 12 * MiB,
      shmem_rss: 0,
      page_tables: 5 * MiB,
      swap: 0,
    },
    oom_score_adj: 989,
  };
}

function incident(victims: readonly Victim[], rest: Partial<Incident>): Incident {
  return valid({
    schema: 'oom-witness.incident/1',
    id: `${HOST.boot_id}:48213`,
    kind: 'oom_kill',
    time: '2026-11-21T03:14:15.926Z',
    witness: ['kmsg'],
    host: HOST,
    oom: { scope: 'unknown', group_kill: false, header_seen: false },
    process: victims[0]!.process,
    victims,
    raw: ['Memory cgroup out of memory: Killed process 4243 (java) total-vm:5242880kB'],
    ...rest,
  });
}

function victimNamed(process: Process, rest: Partial<Victim> = {}): Victim {
  return { process, capture: { source: 'exec', age_ms: 1200, truncated: false, redacted: 0 }, ...rest };
}

/** The commonest one: the only process of a pod's container goes over the container's own limit. */
export function containerKill(): Incident {
  return incident([javaVictim()], {
    oom: {
      scope: 'cgroup',
      constraint: 'CONSTRAINT_MEMCG',
      limit_cgroup: CONTAINER_CGROUP,
      limit_owner: 'container',
      limit: 2 * GiB,
      usage: 2_126_008_812,
      failcnt: 118,
      swap_limit: 0,
      swap_usage: 0,
      group_kill: false,
      trigger: { pid: 4243, name: 'java', gfp_mask: '0xcc0(GFP_KERNEL)', order: 0, oom_score_adj: 989 },
      header_seen: true,
    },
    memory: { anon: 2_104_533_975, file: 21_474_837, shmem: 0, slab: 3 * MiB },
    tasks: [{ pid: 4243, name: 'java', total_vm: 5 * GiB, rss: 2_117_116_887, swap: 0, oom_score_adj: 989 }],
    container: {
      id: CONTAINER_ID,
      name: 'shop',
      runtime: 'containerd',
      image: { name: 'registry.example/shop:1.4' },
    },
    k8s: {
      namespace: { name: 'web' },
      pod: {
        name: 'shop-5d8f7c-x2x',
        uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b',
        labels: { app: 'shop', team: 'storefront' },
      },
      container: { name: 'shop', restart_count: 3 },
      node: { name: 'node-7' },
      deployment: { name: 'shop' },
      qos: 'Burstable',
      limits: { memory: '2Gi' },
      requests: { memory: '1Gi' },
    },
  });
}

/** A child dies, its parent in the same container stays: Kubernetes sees nothing. */
export function childKill(): Incident {
  const args = ['convert', '-resize', '4000x4000', '/tmp/in.tiff', '/tmp/out.jpeg'];
  const convert = victimNamed(
    {
      pid: 977,
      parent_pid: 940,
      name: 'convert',
      command_line: args.join(' '),
      command_args: args,
      user: { id: 33 },
      cgroup: CONTAINER_CGROUP,
    },
    { memory: { total_vm: GiB, anon_rss: 480 * MiB, file_rss: 2 * MiB, shmem_rss: 0 } },
  );
  const whole = containerKill();
  return incident([convert], {
    oom: {
      ...whole.oom,
      limit: 512 * MiB,
      usage: 512 * MiB,
      trigger: { pid: 977, name: 'convert', gfp_mask: '0xcc0(GFP_KERNEL)', order: 0 },
    },
    memory: { anon: 500 * MiB, file: 12 * MiB },
    tasks: [
      { pid: 940, name: 'php-fpm', total_vm: GiB, rss: 20 * MiB, swap: 0, oom_score_adj: 989 },
      { pid: 977, name: 'convert', total_vm: GiB, rss: 482 * MiB, swap: 0, oom_score_adj: 989 },
    ],
    container: { ...whole.container, name: 'thumbs' },
    k8s: {
      namespace: { name: 'web' },
      pod: { name: 'thumbs-0', uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b' },
      container: { name: 'thumbs', restart_count: 0 },
      node: { name: 'node-7' },
      statefulset: { name: 'thumbs' },
    },
  });
}

/** memory.oom.group: the kernel kills every process of the container at once. */
export function groupKill(): Incident {
  const whole = containerKill();
  return incident(
    [
      javaVictim(),
      victimNamed({ pid: 4240, name: 'sh', command_line: 'sh /entry.sh', command_args: ['sh', '/entry.sh'] }),
      victimNamed({ pid: 4251, name: 'tail', command_line: 'tail -F /var/log/shop.log' }),
      victimNamed({ pid: 4260, name: 'curl', command_line: 'curl -s http://localhost:8080/health' }),
    ],
    {
      oom: { ...whole.oom, group_kill: true },
      memory: whole.memory,
      container: whole.container,
      k8s: whole.k8s,
    },
  );
}

/** The machine itself ran out. */
export function nodeKill(): Incident {
  const args = ['/opt/chrome/chrome', '--type=renderer', '--lang=en'];
  const chrome = victimNamed(
    {
      pid: 5121,
      parent_pid: 5001,
      name: 'chrome',
      command_line: args.join(' '),
      command_args: args,
      user: { id: 1001, name: 'anna' },
      cgroup: '/user.slice/user-1001.slice/session-2.scope',
    },
    {
      memory: { total_vm: 40 * GiB, anon_rss: 3.05 * GiB, file_rss: 50 * MiB, shmem_rss: 0 },
      oom_score_adj: 300,
    },
  );
  const task = (pid: number, name: string, rss: number) => ({
    pid,
    name,
    total_vm: 2 * rss,
    rss,
    swap: 0,
    oom_score_adj: 0,
  });
  return incident([{ ...chrome, memory: { ...chrome.memory, anon_rss: Math.round(3.05 * GiB) } }], {
    oom: {
      scope: 'node',
      constraint: 'CONSTRAINT_NONE',
      limit_owner: 'node',
      group_kill: false,
      trigger: { pid: 811, name: 'postgres', gfp_mask: '0x140dca(GFP_HIGHUSER_MOVABLE)', order: 0 },
      header_seen: true,
    },
    memory: { free: 61 * MiB, ram: 16 * GiB, reserved: Math.round(0.4 * GiB) },
    tasks: [
      task(700, 'java', Math.round(1.9 * GiB)),
      task(5121, 'chrome', Math.round(3.1 * GiB)),
      task(811, 'postgres', Math.round(2.2 * GiB)),
      task(1, 'systemd', 12 * MiB),
    ],
    systemd: { slice: 'user-1001.slice' },
  });
}

/** The containers of a pod together went over the pod's limit. */
export function podLimitKill(): Incident {
  const whole = containerKill();
  return incident([javaVictim()], {
    oom: { ...whole.oom, limit_cgroup: POD_CGROUP, limit_owner: 'pod', limit: 4 * GiB, usage: 4 * GiB },
    memory: { anon: 3 * GiB, file: GiB },
    container: whole.container,
    k8s: whole.k8s,
  });
}

/** Nobody could read the command line in time, and the API did not answer. */
export function killWithoutCommandLine(): Incident {
  const whole = containerKill();
  const { pid, name } = whole.process;
  return incident(
    [{ process: { pid, name }, capture: { source: 'kernel-comm', truncated: false, redacted: 0 } }],
    {
      oom: whole.oom,
      container: { id: CONTAINER_ID, runtime: 'containerd' },
      unknown: {
        'process.command_line': 'it started and died while the agent was down',
        k8s: 'API did not answer within 2 s',
      },
    },
  );
}

/** The kernel's rate limit swallowed everything but `Killed process`. */
export function headerlessKill(): Incident {
  const whole = containerKill();
  return incident([javaVictim()], {
    oom: { scope: 'cgroup', group_kill: false, header_seen: false },
    container: whole.container,
    k8s: whole.k8s,
    unknown: { 'oom.trigger': 'the kernel explains at most ten kills in 5 s, and only named this one' },
  });
}

/** A service of a virtual machine, limited by MemoryMax=. */
export function unitKill(): Incident {
  const worker = victimNamed(
    {
      pid: 2210,
      parent_pid: 2200,
      name: 'nginx',
      command_line: 'nginx: worker process',
      cgroup: '/system.slice/nginx.service',
    },
    { memory: { total_vm: GiB, anon_rss: 250 * MiB, file_rss: 3 * MiB, shmem_rss: 0 } },
  );
  return incident([worker], {
    oom: {
      scope: 'cgroup',
      constraint: 'CONSTRAINT_MEMCG',
      limit_cgroup: '/system.slice/nginx.service',
      limit_owner: 'unit',
      limit: 256 * MiB,
      usage: 256 * MiB,
      group_kill: false,
      trigger: { pid: 2211, name: 'nginx' },
      header_seen: true,
    },
    memory: { anon: 250 * MiB, file: 4 * MiB },
    systemd: { unit: 'nginx.service', slice: 'system.slice' },
  });
}

const ESC = '\u001b';
/** Texts that a process may choose for its name or its arguments to harm a parser, a terminal, a page or a chat. */
export const HOSTILE_TEXTS: Readonly<Record<string, string>> = {
  'control characters': 'a\u0000b\u0007c\nd\te\rf\u007fg\u0085h',
  'a command line of 100 KB': `python ${'x'.repeat(100 * 1024)} end`,
  'lone surrogates': 'a\ud800b\udc00c',
  'U+2028 and U+2029': 'a\u2028b\u2029c',
  'a closing script tag': '</script><script>alert(1)</script><img src=x onerror=alert(1)>',
  'terminal escapes': `${ESC}[2J${ESC}]0;owned\u0007${ESC}]8;;http://evil.example\u0007click${ESC}[31m\u009b1m`,
  'mentions for a chat': '<!channel> <!here> <@U012AB3CD> @everyone <http://evil.example|bank> ```*_~',
  'formatting for a chat': '`*a*` ```b``` ~_c_~',
  'bidirectional controls': 'safe\u202egnp.exe\u2066\u200b\ufeff',
  'JSON and syslog delimiters': `","x":{} ] [evil@1 a="b"] \\ %s \${jndi:ldap://x}`,
  'nothing at all': '',
};

/** One container kill for each of `HOSTILE_TEXTS`, hostile in every field that a process or a user of the cluster chooses. */
export function hostileKills(): { readonly what: string; readonly incident: Incident }[] {
  return Object.entries(HOSTILE_TEXTS).map(([what, text], index) => {
    const whole = containerKill();
    const short = text.slice(0, 15);
    const process: Process = {
      ...whole.process,
      name: short,
      command_line: text,
      command_args: text.split(' '),
      executable: { path: text },
    };
    return {
      what,
      incident: valid({
        ...whole,
        id: `${HOST.boot_id}:${70_000 + index}`,
        process,
        victims: [{ ...whole.victims[0]!, process }],
        oom: { ...whole.oom, trigger: { pid: 4242, name: short } },
        tasks: [{ ...whole.tasks![0]!, name: short }],
        k8s: {
          ...whole.k8s,
          pod: { ...whole.k8s?.pod, labels: { hostile: text }, annotations: { hostile: text } },
        },
      }),
    };
  });
}
