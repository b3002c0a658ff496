// Which requests may wake an app (contract 7): a pure function of the app's policy and what is
// known of the request.
#pragma once

#include "config/app_config.hpp"
#include "core/address.hpp"

#include <string>
#include <string_view>

namespace rooster::machines {

/// What would wake the app. Views need to live only for the call they are passed to.
struct WakeAttempt {
  IpAddress source{};         ///< client's
  std::string_view method{};  ///< "" where there is no request: TCP, SNI, operator
  std::string_view path{};    ///< without the query
  std::string_view user_agent{};
  bool only_sni = false;       ///< a TLS ClientHello, no request yet
  std::string_view machine{};  ///< the one it wants, by id; "": any
};

/// Does the policy let this attempt wake the app? The reason of a refusal goes to `why` if given.
bool may_wake(const config::WakePolicy& policy, const WakeAttempt& attempt,
              std::string* why = nullptr);

/// Does the glob match the whole text? `*` stands for any run of characters, '/' included; `?` for
/// one.
bool matches_glob(std::string_view glob, std::string_view text, bool ignore_case = false);

/// Is `address` inside `range` ("10.0.0.0/8", "2001:db8::/32", or one address)?
bool in_range(const IpAddress& address, std::string_view range);

}  // namespace rooster::machines
