"""Mail by SMTP, encrypted unless the server is on this machine or the configuration says otherwise."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Literal

from backup_lib.notify.channels import NotSentError, unreachable
from backup_lib.notify.notice import Notice

Security = Literal["starttls", "tls", "none"]
PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    is_ping = False

    @property
    def name(self) -> str:
        return f"mail to {', '.join(self.to)} by {self.host}:{self.port}"

    def send(self, notice: Notice, timeout_s: float) -> None:
        try:
            with self._connect(timeout_s) as server:
                if self.user is not None:
                    server.login(self.user, self.password or "")
                refused = server.send_message(_message(self, notice))
        except smtplib.SMTPAuthenticationError as exc:
            hint = "see smtp_user and NOTIFY_SMTP_PASSWORD"
            raise NotSentError(f"user {self.user} or the password is wrong ({exc.smtp_code})", hint) from None
        except smtplib.SMTPRecipientsRefused as exc:
            code = next(iter(exc.recipients.values()))[0]
            raise NotSentError(f"no recipient was taken ({code})", "see mail_to", passing=400 <= code < 500) from None
        except smtplib.SMTPNotSupportedError as exc:
            raise NotSentError(f"the server cannot do it: {exc}", hint="see smtp_security and smtp_user") from None
        except smtplib.SMTPResponseException as exc:
            passing = 400 <= exc.smtp_code < 500
            raise NotSentError(
                f"the server answered {exc.smtp_code}", "see smtp_user, mail_from", passing=passing
            ) from None
        except smtplib.SMTPServerDisconnected:
            raise NotSentError("the server broke off", hint="see smtp_security and smtp_port", passing=True) from None
        except (OSError, smtplib.SMTPException) as exc:
            raise unreachable(exc) from None
        if refused:
            raise NotSentError(f"not taken for {', '.join(refused)}", hint="see mail_to")

    def _connect(self, timeout_s: float) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=timeout_s, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=timeout_s)
        if self.security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server


def _message(mail: Mail, notice: Notice) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = notice.title
    message["From"], message["To"] = mail.sender, ", ".join(mail.to)
    message["Date"], message["Message-ID"] = format_datetime(notice.ended_at), make_msgid(domain="pgdrill.invalid")
    message["Auto-Submitted"] = "auto-generated"  # no answers from those on holiday
    message.set_content(notice.text + f"\n\nrun {notice.run_id}\n")
    return message
