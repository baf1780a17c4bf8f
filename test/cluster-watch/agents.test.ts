import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AGENT_LABELS, AgentNodes } from '../../src/cluster-watch/agents.ts';
import { PodTable } from '../../src/inventory/pod-table.ts';
import type { KnownPod } from '../../src/kubernetes/pod.ts';
import { pod, podContainer } from '../inventory/pods.ts';

function watched() {
  const table = new PodTable(() => 0);
  const nodes = new AgentNodes('oom-witness');
  table.listen(nodes);
  return { table, nodes };
}

function agent(given: Partial<KnownPod> = {}): KnownPod {
  return pod({ uid: 'agent', namespace: 'oom-witness', name: 'agent', labels: AGENT_LABELS, ...given });
}

describe('a node has an agent', () => {
  it('while a pod of the DaemonSet is ready there, or a container of it runs', () => {
    const { table, nodes } = watched();
    table.apply(agent({ ready: false }));
    assert.equal(nodes.has('node-7'), false);
    table.apply(agent({ ready: false, containers: [podContainer({ running: true })] }));
    assert.equal(nodes.has('node-7'), true);
    table.apply(agent());
    assert.equal(nodes.has('node-7'), true);
    table.apply(agent({ ready: false }));
    assert.equal(nodes.has('node-7'), false);
  });

  it('until the last of its agents is gone: one may replace another', () => {
    const { table, nodes } = watched();
    table.apply(agent());
    table.apply(agent({ uid: 'its-successor', name: 'its-successor' }));
    table.remove('agent');
    assert.equal(nodes.has('node-7'), true);
    table.retain(new Set());
    assert.equal(nodes.has('node-7'), false);
  });

  it('by no other pod, and not before the agent has a node', () => {
    const { table, nodes } = watched();
    table.apply(pod());
    table.apply(pod({ uid: 'x', labels: { ...AGENT_LABELS, 'app.kubernetes.io/component': 'watch' } }));
    assert.equal(nodes.has('node-7'), false);
    const { node: _, ...unscheduled } = agent();
    table.apply(unscheduled);
    table.apply(agent({ node: 'node-8' }));
    assert.deepEqual(
      ['', 'node-7', 'node-8'].map((node) => nodes.has(node)),
      [false, false, true],
    );
  });

  it('by no pod that somebody else has given its labels', () => {
    const { table, nodes } = watched();
    table.apply(agent({ namespace: 'tenant' }));
    assert.equal(nodes.has('node-7'), false);
  });

  it('that an end which the same change tells is already judged by', () => {
    const { table, nodes } = watched();
    const seen: boolean[] = [];
    table.listen({ terminated: ({ node = '' }) => seen.push(nodes.has(node)) });
    const terminated = { reason: 'OOMKilled', finishedAt: '2026-11-21T03:14:16Z' };
    table.apply(agent({ containers: [podContainer({ terminated })] }));
    assert.deepEqual(seen, [true]);
  });
});
