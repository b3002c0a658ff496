#include "dns/responder.hpp"

namespace rooster::dns {

Responder::Outcome Responder::respond(const IpAddress& source, std::string_view message,
                                      Carrier carrier, std::span<char> out) {
  ++counts_.queries;
  const auto query = read_query(message);
  if (!query) {
    ++counts_.malformed;
    return {Next::Silence};
  }
  if (query->rcode == Rcode::FormErr) ++counts_.malformed;
  Reply reply(out, *query, carrier);
  const auto network = network_of_(source);
  if (!network) {
    ++counts_.refused;
    reply.set_rcode(Rcode::Refused);
    return {Next::Send, reply.finish()};
  }
  if (answer(directory_, *network, *query, options_, reply) == Verdict::Recurse) {
    if (recursor_ == nullptr) {
      reply.set_rcode(Rcode::Refused);
    } else if (!recursor_->try_answer({*network, source}, *query, reply)) {
      return {Next::Wait};
    }
  }
  if (reply.is_full()) ++counts_.truncated;
  return {Next::Send, reply.finish()};
}

Task<std::size_t> Responder::recurse(const IpAddress& source, std::string_view message,
                                     Carrier carrier, std::span<char> out, Waiter& waiter) {
  const auto query = read_query(message);
  const auto network = network_of_(source);
  if (!query || !network) co_return fail(Fault::Internal, "the asker's network is gone");
  Reply reply(out, *query, carrier);
  const Asker asker{*network, source};
  (void)co_await recursor_->resolve(asker, *query, reply, waiter);
  if (reply.is_full()) ++counts_.truncated;
  co_return reply.finish();
}

}  // namespace rooster::dns
