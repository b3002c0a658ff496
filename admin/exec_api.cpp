#include "admin/exec_api.hpp"

#include "admin/enrolment.hpp"
#include "config/split_command.hpp"
#include "core/json_text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include <sys/random.h>

namespace rooster::admin {
namespace {

using namespace std::chrono_literals;
using net::HttpReply;
using net::HttpRequest;

constexpr std::size_t kMaxWords = 4096;
constexpr auto kFarewell = 10s;

bool same_text(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, ::tolower, ::tolower);
}

bool has_protocol(const HttpRequest& request) {
  return same_text(request.field("upgrade"), net::kExecProtocol);
}

Error wrong(std::string text) {
  return Error(Fault::BadRequest, std::move(text));
}

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

bool is_true(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::uint16_t size_of(const boost::json::object& object, std::string_view key,
                      std::uint16_t otherwise) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_int64()) return otherwise;
  const std::int64_t number = value->get_int64();
  return number > 0 && number < 10'000 ? static_cast<std::uint16_t>(number) : otherwise;
}

// The machine's own, whatever it has.
std::vector<std::string> shell() {
  return {"/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l"};
}

bool is_root(std::string_view user) {
  return user == "root" || user == "0";
}

std::uint64_t ledger_id() {
  std::uint64_t id = 0;
  if (::getrandom(&id, sizeof id, 0) != sizeof id) return 1;
  return id >> 2U;  // SQLite's integers have a sign
}

// The /120 of a peer is all its own.
bool is_of_peer(const IpAddress& address, const cluster::Peer& peer) {
  return std::ranges::equal(std::span(address.bytes()).first(15),
                            std::span(peer.address.bytes()).first(15));
}

std::string sentence(const Error& error) {
  return error.detail.empty() ? std::string(describe(error.fault).hint) : error.detail;
}

}  // namespace

std::optional<ExecPath> ExecPath::parse(std::string_view path) {
  constexpr std::string_view kApps = "/v1/apps/";
  constexpr std::string_view kMachines = "/machines/";
  constexpr std::string_view kExec = "/exec";
  if (!path.starts_with(kApps) || !path.ends_with(kExec)) return std::nullopt;
  path.remove_prefix(kApps.size());
  path.remove_suffix(kExec.size());
  const std::size_t middle = path.find(kMachines);
  if (middle == std::string_view::npos) return std::nullopt;
  ExecPath found{.app = net::decode_query(path.substr(0, middle)),
                 .machine = net::decode_query(path.substr(middle + kMachines.size()))};
  if (found.app.empty() || found.machine.empty() || found.machine.contains('/')) {
    return std::nullopt;
  }
  return found;
}

Result<ExecSpec> parse_exec(const ExecPath& path, std::string_view body) {
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(body, error);
  if (error || !value.is_object()) return fail(wrong("the body is not a JSON object"));
  const boost::json::object& object = value.get_object();
  ExecSpec spec{.app = path.app, .machine = path.machine};
  if (const auto* words = object.if_contains("command"); words != nullptr) {
    if (!words->is_array() || words->get_array().size() > kMaxWords) {
      return fail(wrong("command: an array of words"));
    }
    for (const auto& word : words->get_array()) {
      const auto* text = word.if_string();
      if (text == nullptr || std::string_view(*text).contains('\0')) {
        return fail(wrong("command: an array of words"));
      }
      spec.argv.emplace_back(*text);
    }
  }
  if (spec.argv.empty()) spec.argv = shell();
  if (spec.argv.front().empty()) return fail(wrong("command: its first word is empty"));
  spec.user = text_of(object, "user");
  spec.has_terminal = is_true(object, "pty");
  spec.starts_always = is_true(object, "start");
  spec.term = text_of(object, "term").substr(0, 64);
  spec.rows = size_of(object, "rows", spec.rows);
  spec.columns = size_of(object, "columns", spec.columns);
  return spec;
}

// Browsers set Origin on what a page sends elsewhere, and a page that made its own name resolve to
// us can't choose Host.
Result<> refuse_web_pages(const HttpRequest& request) {
  if (!request.field("origin").empty()) {
    return fail(Fault::NotAllowed, "requests of web pages are refused");
  }
  std::string_view host = request.field("host");
  if (host.ends_with(":4280")) host.remove_suffix(5);
  const bool is_address = host.starts_with("[fdaa:") && host.ends_with("::3]");
  if (!is_address && !same_text(host, "_api.internal")) {
    return fail(Fault::NotAllowed, "this is _api.internal; requests to other hosts are refused");
  }
  return {};
}

Task<cluster::PeerPtr> find_caller(PrivateNetwork& network, const HttpRequest& request,
                                   Waiter& waiter) {
  if (!request.source) co_return Error(Fault::NotAllowed);
  const IpAddress source = *request.source;
  co_return co_await ask_registry<cluster::PeerPtr>(
      network, waiter,
      [source](const cluster::Registry& registry, Answer<cluster::PeerPtr> answer) {
        for (const cluster::PeerPtr& peer : registry.peers()) {
          if (is_of_peer(source, *peer)) return answer(peer);
        }
        answer(fail(Fault::NotAllowed, "only WireGuard peers may call here, machines may not"));
      });
}

HttpReply refusal_of(const Error& error) {
  const FaultText text = describe(error.fault);
  std::string body;
  JsonWriter(body).begin_object().field("error", sentence(error)).end_object();
  body += '\n';
  HttpReply reply = HttpReply::json(std::move(body), text.status >= 400 ? text.status : 500);
  reply.fields.emplace_back("Rooster-Fault", std::string(text.token));
  return reply;
}

Task<ExecCaller> ExecApi::authorize(const HttpRequest& request, const AppFacts& app,
                                    Waiter& waiter) {
  const auto peer = co_await find_caller(*network_, request, waiter);
  if (!peer) co_return peer.error();
  const std::string& name = app.view->config->name;
  // Another network's app is as if it were not there.
  if ((*peer)->network != app.view->network) co_return Error(Fault::NoRoute, "no app of this name");
  if (!(*peer)->may_reach(name)) co_return Error(Fault::NotAllowed);
  const std::string text(bearer_token(request));
  const IpAddress source = *request.source;
  const auto token = co_await ask_registry<cluster::TokenPtr>(
      *network_, waiter,
      [text, source](cluster::Registry& registry, Answer<cluster::TokenPtr> answer) {
        answer(registry.authorize(text, source, std::chrono::system_clock::now()));
      });
  if (!token) co_return token.error();
  const bool is_the_peers = (*token)->id == (*peer)->token || (*token)->id == (*peer)->grants;
  if (!is_the_peers || (*token)->network != (*peer)->network) {
    co_return Error(Fault::NotAllowed, "this token is not the one of your peer");
  }
  if (!(*token)->allows(cluster::Right::Exec, name)) {
    co_return Error(Fault::NotAllowed,
                    fmt::format("your token does not allow exec in {}; ask for one made with "
                                "rooster tokens create --allow connect,exec",
                                name));
  }
  if (is_root(app.view->config->rooster.user) && !node_.config()->node.reloadable.exec_as_root) {
    co_return Error(Fault::NotAllowed,
                    fmt::format("{} runs as root; the node allows no exec there ([rooster] "
                                "exec_as_root)",
                                name));
  }
  co_return ExecCaller{.token = (*token)->id, .peer = (*peer)->name};
}

Task<HttpReply> ExecApi::as_operator(const HttpRequest& request, ExecPath path, Waiter& waiter) {
  if (!has_protocol(request)) co_return refusal_of(wrong("Upgrade: rooster-exec/1 is missing"));
  auto spec = parse_exec(path, request.body);
  if (!spec) co_return refusal_of(spec.error());
  const auto app = co_await node_.app(waiter, path.app);
  if (!app) co_return refusal_of(app.error());
  co_return accept(std::move(*spec), {});
}

Task<HttpReply> ExecApi::as_peer(const HttpRequest& request, ExecPath path, Waiter& waiter) {
  if (const auto fine = refuse_web_pages(request); !fine) co_return refusal_of(fine.error());
  if (!has_protocol(request)) co_return refusal_of(wrong("Upgrade: rooster-exec/1 is missing"));
  if (network_ == nullptr) co_return refusal_of(Error(Fault::NotAllowed));
  auto spec = parse_exec(path, request.body);
  if (!spec) co_return refusal_of(spec.error());
  const auto app = co_await node_.app(waiter, path.app);
  if (!app) co_return refusal_of(app.error());
  auto caller = co_await authorize(request, *app, waiter);
  if (!caller) {
    log_.warn("exec refused", {{"app", path.app},
                               {"machine", path.machine},
                               {"source", request.source->to_string()},
                               {"fault", describe(caller.error().fault).token}});
    co_return refusal_of(caller.error());
  }
  if (!spec->user.empty() && spec->user != app->view->config->rooster.user) {
    co_return refusal_of(
        Error(Fault::NotAllowed, "exec runs as the machine's own user; leave -u out"));
  }
  spec->user.clear();
  co_return accept(std::move(*spec), std::move(*caller));
}

HttpReply ExecApi::accept(ExecSpec spec, ExecCaller caller) {
  HttpReply reply;
  reply.status = 101;
  reply.fields = {{"Connection", "Upgrade"}, {"Upgrade", std::string(net::kExecProtocol)}};
  reply.takeover = [this, spec = std::move(spec), caller = std::move(caller)](
                       Stream& client, std::string input, Waiter& waiter) {
    return serve(spec, caller, client, std::move(input), waiter);
  };
  return reply;
}

Task<> ExecApi::serve(ExecSpec spec, ExecCaller caller, Stream& client, std::string input,
                      Waiter& waiter) {
  auto process = co_await host_.start(
      spec,
      [&client](std::string_view line) {
        // A client ends its bytes only when it goes.
        const bool is_there = !client.is_broken() && !client.pollable().is(Pollable::kPeerClosed);
        if (is_there && !line.empty()) {
          client.write(net::encode_exec(net::ExecKind::Notice, line));
        }
        return is_there;
      },
      waiter);
  if (!process) {
    client.write(net::encode_exec(net::ExecKind::Error, sentence(process.error())));
    co_return co_await drain(client, waiter, Clock::now() + kFarewell, Fault::ClientLeft,
                             Fault::ClientLeft);
  }
  cluster::AuditEntry entry{.id = ledger_id(),
                            .token = caller.token,
                            .peer = caller.peer,
                            .app = spec.app,
                            .machine = spec.machine,
                            .argv = spec.argv,
                            .start = std::chrono::system_clock::now()};
  const std::string who = caller.peer.empty() ? "operator" : caller.peer;
  log_.info("exec begins", {{"who", who},
                            {"token", caller.token},
                            {"app", spec.app},
                            {"machine", spec.machine},
                            {"command", config::join_command(spec.argv)}});
  write_ledger(entry);
  ExecSession session(client, **process, spec.has_terminal, waiter);
  const auto end = co_await session.run(std::move(input));
  if (!end) co_return end.error();
  entry.end = std::chrono::system_clock::now();
  if (end->status) entry.exit_status = static_cast<int>(*end->status);
  entry.bytes_in = end->bytes_in;
  entry.bytes_out = end->bytes_out;
  log_.info("exec ended", {{"who", who},
                           {"app", spec.app},
                           {"machine", spec.machine},
                           {"status", end->status ? static_cast<int>(*end->status) : -1},
                           {"bytes_in", end->bytes_in},
                           {"bytes_out", end->bytes_out},
                           {"client_left", end->client_left ? "yes" : "no"}});
  write_ledger(std::move(entry));
  co_return {};
}

void ExecApi::write_ledger(cluster::AuditEntry entry) {
  if (network_ == nullptr) return;
  network_->registry_loop().post([network = network_, entry = std::move(entry)]() mutable {
    network->registry().audit(std::move(entry));
  });
}

}  // namespace rooster::admin
