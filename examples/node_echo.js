// An echo server in Node.js, as a contender: it knows nothing of muxbench.
//
//     node examples/node_echo.js 7000

const net = require("net");

net.createServer({ noDelay: true }, (socket) => {
  // A client that does not read is not read from, or what it is owed would grow without a bound.
  socket.on("data", (data) => socket.write(data) || socket.pause());
  socket.on("drain", () => socket.resume());
  socket.on("error", () => socket.destroy());
}).listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on ${process.argv[2]}`);
});
