// One short page over HTTP in Node.js, as a contender: it knows nothing of muxbench.
//
//     node examples/node_http.js 8080

const http = require("http");

http.createServer((request, response) => response.end("Hello\n"))
  .listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () => {
    console.log(`listening on ${process.argv[2]}`);
  });
