import { Courier, type CourierContext, type Destination } from './courier.ts';

/** The couriers of all configured sinks. None of them waits on another. */
export class Couriers {
  readonly #couriers: readonly Courier[];

  constructor(destinations: readonly Destination[], context: CourierContext) {
    this.#couriers = destinations.map((destination) => new Courier(destination, context));
  }

  start(): void {
    for (const courier of this.#couriers) courier.start();
  }

  /** To be called after something was committed or completed. */
  wake(): void {
    for (const courier of this.#couriers) courier.wake();
  }

  /**
   * All at the same time, until everything is delivered or the deadline has come.
   *
   * @param deadline milliseconds since the epoch
   * @returns how many deliveries are left in the store, by sink
   */
  async drain(deadline: number): Promise<ReadonlyMap<string, number>> {
    return new Map(
      await Promise.all(
        this.#couriers.map(async (courier) => [courier.name, await courier.drain(deadline)] as const),
      ),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#couriers.map((courier) => courier.close()));
  }
}
