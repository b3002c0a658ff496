#include "admin/private_api.hpp"

#include "admin/app_json.hpp"
#include "core/json_text.hpp"
#include "core/log.hpp"

namespace rooster::admin {

using net::HttpReply;
using net::HttpRequest;

Task<HttpReply> PrivateApi::handle(const HttpRequest& request, Waiter& waiter) {
  if (!request.source) co_return refusal_of(Error(Fault::NotAllowed));
  if (const auto fine = refuse_web_pages(request); !fine) co_return refusal_of(fine.error());
  constexpr std::string_view kApps = "/v1/apps/";
  const std::string_view path = request.path();
  if (auto exec = ExecPath::parse(path); exec && request.method == "POST") {
    co_return co_await exec_.as_peer(request, std::move(*exec), waiter);
  }
  if (path == "/v1/status" && request.method == "GET") co_return co_await status(request, waiter);
  if (path.starts_with(kApps) && request.method == "GET") {
    co_return co_await app(request, net::decode_query(path.substr(kApps.size())), waiter);
  }
  co_return refusal_of(Error(Fault::NoRoute, "no such endpoint"));
}

Task<HttpReply> PrivateApi::status(const HttpRequest& request, Waiter& waiter) {
  const auto peer = co_await find_caller(network_, request, waiter);
  if (!peer) co_return refusal_of(peer.error());
  const auto status = co_await node_.status(waiter);
  if (!status) co_return refusal_of(status.error());
  std::string body;
  JsonWriter(body)
      .begin_object()
      .field("version", ROOSTER_VERSION)
      .field("region", status->region)
      .field("started", format_time(status->started))
      .end_object();
  body += '\n';
  co_return HttpReply::json(std::move(body));
}

Task<HttpReply> PrivateApi::app(const HttpRequest& request, std::string name, Waiter& waiter) {
  const auto peer = co_await find_caller(network_, request, waiter);
  if (!peer) co_return refusal_of(peer.error());
  const auto found = co_await node_.app(waiter, name);
  // What a peer may not reach is as if it were not there.
  if (!found || found->view->network != (*peer)->network || !(*peer)->may_reach(name)) {
    co_return refusal_of(Error(Fault::NoRoute, "no app of this name"));
  }
  std::string body;
  JsonWriter json(body);
  json.begin_object().field("name", found->view->config->name).key("machines").begin_array();
  for (const auto& machine : found->view->machines) write_machine(json, *found, machine);
  json.end_array().end_object();
  body += '\n';
  co_return HttpReply::json(std::move(body));
}

}  // namespace rooster::admin
