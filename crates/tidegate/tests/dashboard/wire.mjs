// A wire between the browser and a server that can be cut and mended: a TCP proxy.

import { connect, createServer } from "node:net";

/// Gives `{url, cut(), mend(), stop()}`; `url` has the path of `target`.
export async function startWire(target) {
  const { hostname, port, pathname } = new URL(target);
  const ends = new Set();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) return near.destroy();
    const far = connect(Number(port || 80), hostname.replace(/^\[|\]$/g, ""));
    for (const [one, other] of [[near, far], [far, near]]) {
      ends.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        ends.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const cut = () => {
    whole = false;
    for (const end of ends) end.destroy();
  };
  return {
    url: `http://127.0.0.1:${server.address().port}${pathname}`,
    cut,
    mend() {
      whole = true;
    },
    stop() {
      cut();
      server.close();
    },
  };
}
