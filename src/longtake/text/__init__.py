"""Text encoders: from prompts and captions to the token states that a denoiser reads."""

from typing import Annotated

from pydantic import Field

from longtake.text.encoder import EncodeText as EncodeText
from longtake.text.encoder import Prompt as Prompt
from longtake.text.encoder import TextEncoder as TextEncoder
from longtake.text.encoder import prompt_signal as prompt_signal
from longtake.text.pretrained import PretrainedText as PretrainedText
from longtake.text.word_codes import WordCodes as WordCodes

AnyTextEncoder = Annotated[WordCodes | PretrainedText, Field(discriminator="kind")]
