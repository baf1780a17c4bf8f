/** What each privilege is for: the table of docs/kubernetes.md, with real containers, Docker's seccomp profile and real kills. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import type { AgentProcess } from '../agent-process.ts';
import { type Container, manifests, type PodSpec } from '../k8s/manifest-files.ts';
import { launch, makeCgroup } from '../kills/kills.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { AgentContainer } from './agent-container.ts';
import { loadAgentImage } from './agent-image.ts';
import { LIMIT } from './victim-image.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;

const DEVICE = ['--device', '/dev/kmsg:/dev/kmsg:r'];
const HOST_NETWORK = '--network=host';
const NO_NETWORK = '--network=none';
const NOTHING = ['--cap-drop=ALL', '--security-opt=no-new-privileges'];
const add = (...capabilities: readonly string[]) => [
  ...NOTHING,
  ...capabilities.map((capability) => `--cap-add=${capability}`),
];

/** Of k8s/overlays/reduced. */
const reduced = manifests().find(({ file }) => file === 'overlays/reduced/daemonset.yaml')?.spec.template
  .spec as PodSpec;
const { capabilities, privileged } = (reduced.containers[0] as Container).securityContext ?? {};
const granted = capabilities?.add ?? [];

describe('the agent without --privileged', { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await loadAgentImage(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  const container = (t: TestContext, ...privileges: readonly string[]) =>
    AgentContainer.create(t, docker, 'private', privileges);

  /** A kill of somebody whom the agent has found before, be it by a scan of /proc. */
  async function killSeenBy(
    t: TestContext,
    watching: AgentContainer,
    agent: AgentProcess,
  ): Promise<Incident> {
    const group = makeCgroup(LIMIT);
    t.after(() => group.remove());
    const isSeen = () => watching.journal().includes('"--seen=0"');
    const [victim] = await launch(group, {
      count: 1,
      text: ['--seen=%d'],
      until: () => until(isSeen, 'the victim in the journal'),
    });
    const pids = [victim!.pid];
    await agent.until(() => agent.of(pids).length > 0, 'telling the kill');
    const [incident] = agent.of(pids) as [Incident];
    assert.deepEqual(incident.process.command_args, victim!.args);
    assert.equal(incident.process.cgroup, group.path);
    return incident;
  }

  const blind = (agent: AgentProcess) => agent.log.find(({ msg }) => msg === 'process events: blind');

  /** Ends at once, and says why. */
  async function refusal(t: TestContext, ...privileges: readonly string[]): Promise<string> {
    const agent = (await container(t, ...privileges)).launch();
    assert.equal(await agent.exited(), 1);
    return String(agent.log.find(({ msg }) => String(msg).startsWith('no kill can be seen'))?.reason);
  }

  it('k8s/overlays/reduced: everything is known', async (t) => {
    assert.deepEqual(capabilities?.drop, ['ALL']);
    assert.equal(privileged, false);
    assert.equal(reduced.hostNetwork, true);
    const watching = await container(t, ...add(...granted), HOST_NETWORK, ...DEVICE);
    const agent = await watching.start();
    const incident = await killSeenBy(t, watching, agent);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.ok(incident.process.executable?.path);
    assert.equal(blind(agent), undefined);
  });

  it("the same without the host's network: SYS_ADMIN and SYS_PTRACE to enter it", async (t) => {
    const watching = await container(t, ...add(...granted, 'SYS_ADMIN'), NO_NETWORK, ...DEVICE);
    const agent = await watching.start();
    const incident = await killSeenBy(t, watching, agent);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.equal(blind(agent), undefined);
  });

  it("without the host's network: every kill, but command lines from scans", async (t) => {
    const watching = await container(t, ...add(...granted), NO_NETWORK, ...DEVICE);
    const agent = await watching.start();
    const incident = await killSeenBy(t, watching, agent);
    assert.equal(incident.victims[0]?.capture.source, 'scan');
    await agent.until(() => blind(agent) !== undefined, 'telling what it cannot see');
    assert.match(
      String(blind(agent)?.reason),
      /^(subscribing to process events failed|\/proc\/\d+\/ns\/net)/,
    );
  });

  it('without SYS_PTRACE: no path of the executable', async (t) => {
    const rest = granted.filter((capability) => capability !== 'SYS_PTRACE');
    const watching = await container(t, ...add(...rest), HOST_NETWORK, ...DEVICE);
    const agent = await watching.start();
    const incident = await killSeenBy(t, watching, agent);
    assert.equal(incident.process.executable, undefined);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
  });

  const isRestricted = readFileSync('/proc/sys/kernel/dmesg_restrict', 'utf8').trim() === '1';
  it('without SYSLOG: refused', { skip: !isRestricted && 'kernel.dmesg_restrict is 0' }, async (t) => {
    const rest = granted.filter((capability) => capability !== 'SYSLOG');
    assert.match(await refusal(t, ...add(...rest), HOST_NETWORK, ...DEVICE), /^\/dev\/kmsg: .*CAP_SYSLOG/);
  });

  it('with /dev/kmsg mounted, but not given as a device: refused', async (t) => {
    const mounted = ['--volume', '/dev/kmsg:/dev/kmsg:ro'];
    assert.match(
      await refusal(t, ...add(...granted), HOST_NETWORK, ...mounted),
      /^\/dev\/kmsg: .*and the device/,
    );
  });

  it('without /dev/kmsg: refused', async (t) => {
    assert.match(await refusal(t, ...add(...granted), HOST_NETWORK), /^\/dev\/kmsg: not there/);
  });
});
