// Any bytes as the beginning of a connection: as a PROXY header, a TLS hello, a PostgreSQL request.
// What is complete stays the same whatever follows; what is not is said of every shorter part too.
#include "proxy/client_hello.hpp"
#include "proxy/pg_start.hpp"
#include "proxy/proxy_protocol.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace rooster::proxy;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_header(std::string_view bytes) {
  using enum ProxyHeader::Status;
  const ProxyHeader header = parse_proxy_header(bytes);
  if (header.status == NeedMore) {
    require(bytes.size() < kMaxProxyHeader);
    require(parse_proxy_header(bytes.substr(0, bytes.size() / 2)).status == NeedMore);
  }
  if (header.status != Complete) return;
  require(header.bytes > 0 && header.bytes <= bytes.size() && header.bytes <= kMaxProxyHeader);
  require(parse_proxy_header(bytes.substr(0, header.bytes)).ends == header.ends);
  require(parse_proxy_header(bytes.substr(0, header.bytes - 1)).status == NeedMore);
  if (!header.ends) return;
  for (const std::string& made : {make_proxy_v1(*header.ends), make_proxy_v2(*header.ends)}) {
    const ProxyHeader again = parse_proxy_header(made);
    require(again.status == Complete && again.bytes == made.size() && again.ends == header.ends);
  }
}

void check_hello(std::string_view bytes) {
  using enum HelloPeek::Status;
  const HelloPeek hello = peek_client_hello(bytes);
  if (hello.status == NeedMore) {
    require(peek_client_hello(bytes.substr(0, bytes.size() / 2)).status == NeedMore);
  }
  if (hello.status != Complete) return;
  require(hello.sni.size() <= 253);
  require(std::ranges::none_of(hello.sni, [](char byte) { return byte <= ' ' || byte == '/'; }));
  require(peek_client_hello(std::string(bytes) + "x").sni == hello.sni);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_header(bytes);
  check_hello(bytes);
  if (peek_pg_request(bytes) == PgRequest::NeedMore) require(bytes.size() < kPgRequestBytes);
  return 0;
}
