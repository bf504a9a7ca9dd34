// What the types tell and refuse. It is compiled, and never run.

import { type Client, type WarrenError, connect } from "../src/index.js";

export async function types(): Promise<void> {
  const client: Client = await connect("tcp://127.0.0.1:7171", { user: "ann" });
  const { members, room } = await client.call("join", { room: "plaza" });
  const both: [number, string] = [members, room];
  const { seq }: { seq?: number } = await client.call("chat", { to: "plaza", text: "hi" });
  // @ts-expect-error A message to a user has no number.
  const always: number = seq;
  // @ts-expect-error The field is `room`.
  await client.call("join", { rom: "plaza" });
  // @ts-expect-error A text is missing.
  await client.call("chat", { to: "plaza" });
  // @ts-expect-error A field holds no object.
  await client.call("dance", { how: { fast: true } });
  // Own fields are anything that a message can hold.
  await client.call("create", { kind: "box", size: 1, tags: ["a"], data: Uint8Array.of(1) });
  const reply = await client.call("dance", { how: "slowly" });
  const status: unknown = reply.status;
  const off: () => void = client.on("chat", ({ from, text }) => `${from.trim()}: ${text.trim()}`);
  // @ts-expect-error Its field is `from`.
  client.on("chat", ({ user }: { user: string }) => user);
  client.on("lost", (error: WarrenError) => error.reason);
  client.on("state", (state) => (state.state === "connected" ? state.replayed : 0));
  client.on("danced", (message) => message.how);
  console.log(both, always, status, off);
}
